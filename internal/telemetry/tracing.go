package telemetry

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the instrumentation scope of our spans.
const tracerName = "github.com/illumichat/caddy-illumichat"

// StartSpan starts the span of the request to the upstream, by OpenTelemetry's conventions for HTTP clients and for
// generative AI. It starts none if the request is not traced, or its trace is not recorded. publicEndpoint is the
// endpoint without the parts that could hold a secret.
func (c *Record) StartSpan(ctx context.Context, endpoint *url.URL, publicEndpoint string) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		c.span = parent
		return
	}
	c.asked = time.Since(c.Start)
	attributes := []attribute.KeyValue{
		semconv.GenAIOperationNameInvokeAgent,
		semconv.GenAIProviderNameKey.String("illumichat"),
		semconv.GenAIAgentID(c.LoggedAssistant()),
		semconv.HTTPRequestMethodPost,
		semconv.URLFull(publicEndpoint),
		semconv.ServerAddress(endpoint.Hostname()),
	}
	if port, err := strconv.Atoi(endpoint.Port()); err == nil {
		attributes = append(attributes, semconv.ServerPort(port))
	}
	_, c.span = parent.TracerProvider().Tracer(tracerName).Start(ctx, "invoke_agent "+c.Label,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// traceTry adds a span event for an attempt that has ended.
func (c *Record) traceTry(status int, label string) {
	if !c.span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{semconv.HTTPRequestResendCount(c.Tries - 1)}
	if status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(status))
	}
	if label != tryAnswered {
		attributes = append(attributes, semconv.ErrorTypeKey.String(label))
	}
	c.span.AddEvent("try", trace.WithAttributes(attributes...))
}

// EndSpan ends the span, after it has added how the chat ended. It does nothing if the span has ended or there is none.
func (c *Record) EndSpan() {
	if c.span == nil || !c.span.IsRecording() {
		return
	}
	defer c.span.End()
	c.span.SetAttributes(attribute.String("illumichat.outcome", string(c.Outcome)))
	if c.UpstreamStatus != 0 {
		c.span.SetAttributes(semconv.HTTPResponseStatusCode(c.UpstreamStatus))
	}
	if c.FirstEvent > 0 {
		c.span.SetAttributes(semconv.GenAIResponseTimeToFirstChunk((c.FirstEvent - c.asked).Seconds()))
	}
	if c.FinishReason != "" {
		c.span.SetAttributes(semconv.GenAIResponseFinishReasons(c.loggedReason()))
	}
	switch c.Outcome {
	case OutcomeFailed:
		c.fail(cmp.Or(c.CodeLabel, c.Cause))
	case OutcomeBroken:
		c.fail(c.Cause)
	}
}

func (c *Record) fail(why string) {
	c.span.SetAttributes(semconv.ErrorTypeKey.String(why))
	c.span.SetStatus(codes.Error, why)
}

// Propagate adds the span's traceparent to the header of a request to the upstream, as in W3C Trace Context.
func (c *Record) Propagate(ctx context.Context, header http.Header) {
	// The tracestate stays out: it may hold values of the visitor or of the site's other services.
	defer header.Del("Tracestate")
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(ctx, c.span), propagation.HeaderCarrier(header))
}
