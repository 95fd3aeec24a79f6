package illumichat

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the scope of our spans.
const tracerName = "github.com/illumichat/caddy-illumichat"

// startSpan begins the upstream's part of the request's trace, by OpenTelemetry's conventions for HTTP clients and for
// generative AI. Where the request is not traced, or not recorded, there is none of our own.
func (ex *exchange) startSpan() {
	parent := trace.SpanFromContext(ex.ctx)
	if !parent.IsRecording() {
		ex.record.span = parent
		return
	}
	ex.record.asked = ex.watch.Now()
	endpoint := ex.h.endpoint
	attributes := []attribute.KeyValue{
		semconv.GenAIOperationNameInvokeAgent,
		semconv.GenAIProviderNameKey.String("illumichat"),
		semconv.GenAIAgentID(shorten(ex.record.assistant)),
		semconv.HTTPRequestMethodPost,
		semconv.URLFull(ex.h.publicEndpoint()),
		semconv.ServerAddress(endpoint.Hostname()),
	}
	if port, err := strconv.Atoi(endpoint.Port()); err == nil {
		attributes = append(attributes, semconv.ServerPort(port))
	}
	_, ex.record.span = parent.TracerProvider().Tracer(tracerName).Start(ex.ctx, "invoke_agent "+ex.record.label,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// traceTry tells of a try that is over.
func (ex *exchange) traceTry(status int, label string) {
	if !ex.record.span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{semconv.HTTPRequestResendCount(ex.record.tries - 1)}
	if status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(status))
	}
	if label != tryAnswered {
		attributes = append(attributes, semconv.ErrorTypeKey.String(label))
	}
	ex.record.span.AddEvent("try", trace.WithAttributes(attributes...))
}

// endSpan tells what became of the chat.
func (c *record) endSpan() {
	if c.span == nil || !c.span.IsRecording() {
		return
	}
	defer c.span.End()
	c.span.SetAttributes(attribute.String("illumichat.outcome", string(c.outcome)))
	if c.upstreamStatus != 0 {
		c.span.SetAttributes(semconv.HTTPResponseStatusCode(c.upstreamStatus))
	}
	if c.firstEvent > 0 {
		c.span.SetAttributes(semconv.GenAIResponseTimeToFirstChunk((c.firstEvent - c.asked).Seconds()))
	}
	if c.finishReason != "" {
		c.span.SetAttributes(semconv.GenAIResponseFinishReasons(shorten(c.finishReason)))
	}
	switch c.outcome {
	case outcomeFailed:
		c.fail(cmp.Or(c.codeLabel, c.cause))
	case outcomeBroken:
		c.fail(c.cause)
	}
}

func (c *record) fail(why string) {
	c.span.SetAttributes(semconv.ErrorTypeKey.String(why))
	c.span.SetStatus(codes.Error, why)
}

// propagate tells the upstream of the trace, as the W3C's Trace Context has it.
func (ex *exchange) propagate(ctx context.Context, header http.Header) {
	if ex.h.PropagateTrace {
		// Not the tracestate, which may be the visitor's words or those of the site's other services.
		defer header.Del("Tracestate")
		propagation.TraceContext{}.Inject(trace.ContextWithSpan(ctx, ex.record.span), propagation.HeaderCarrier(header))
	}
}
