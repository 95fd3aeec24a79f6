package apierror

import "slices"

// Code is the code of an error or of an interruption, "<type>:<context>". Only this file can make one, so that the list of codes
// is complete.
type Code struct{ name string }

func (c Code) String() string { return c.name }

// codes are the codes of errors, in the order in which they are declared below.
var codes []Code

// Codes returns the codes that an error of ours can have.
func Codes() []Code { return slices.Clone(codes) }

func newCode(name string) Code {
	c := Code{name}
	codes = append(codes, c)
	return c
}

// The codes of errors that are ours.
var (
	CodeBadRequest           = newCode("bad_request:chat")
	CodeForbiddenAssistant   = newCode("forbidden:assistant")
	CodeForbiddenOrigin      = newCode("forbidden:origin")
	CodeMethodNotAllowed     = newCode("method_not_allowed:chat")
	CodeTimeout              = newCode("timeout:chat")
	CodeTooLarge             = newCode("too_large:chat")
	CodeUnsupportedMediaType = newCode("unsupported_media_type:chat")
	CodeRateLimit            = newCode("rate_limit:chat")
	CodeOverloaded           = newCode("overloaded:chat")
	codeShuttingDown         = newCode("shutting_down:proxy")

	CodeBadRequestStream = newCode("bad_request:stream")
	CodeNotFoundStream   = newCode("not_found:stream")
	CodeUnavailableStore = newCode("unavailable:store")
)

// The codes of errors that the upstream is the reason for.
var (
	CodeBadGateway           = newCode("bad_gateway:upstream")
	codeBadRequestUpstream   = newCode("bad_request:upstream")
	codeNotFoundUpstream     = newCode("not_found:upstream")
	codeOverloadedUpstream   = newCode("overloaded:upstream")
	codeRateLimitUpstream    = newCode("rate_limit:upstream")
	codeServerErrorUpstream  = newCode("server_error:upstream")
	codeTimeoutUpstream      = newCode("timeout:upstream")
	codeTooLargeUpstream     = newCode("too_large:upstream")
	CodeUnauthorizedUpstream = newCode("unauthorized:upstream")
)

// The codes of interruptions, beside those of errors.
var (
	codeClosed      = Code{"closed:upstream"}
	codeStalled     = Code{"stalled:upstream"}
	codeMaxDuration = Code{"max_duration:upstream"}
	codeLeak        = Code{"leak:upstream"}
	codeStopped     = Code{"stopped:visitor"}
	codeAbandoned   = Code{"abandoned:visitor"}
	codeLost        = Code{"lost:instance"}
)
