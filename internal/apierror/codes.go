package apierror

import "slices"

// Code is the code of an error or of an interruption, "<type>:<context>". Its field is unexported, so that all codes
// are made in this file. Codes and Interruptions list them.
type Code struct{ name string }

// String returns the code as it is sent.
func (c Code) String() string { return c.name }

// codes lists the codes of errors, in the order of their declarations below.
var codes []Code

// Codes returns every Code that an Error can have.
func Codes() []Code { return slices.Clone(codes) }

func newCode(name string) Code {
	c := Code{name}
	codes = append(codes, c)
	return c
}

// Codes of the errors that this module raises itself.
var (
	CodeBadRequest           = newCode("bad_request:chat")
	CodeForbiddenAssistant   = newCode("forbidden:assistant")
	CodeForbiddenOrigin      = newCode("forbidden:origin")
	CodeMethodNotAllowed     = newCode("method_not_allowed:chat")
	CodeTimeout              = newCode("timeout:chat")
	CodeTooLarge             = newCode("too_large:chat")
	CodeTooManyMessages      = newCode("too_many_messages:chat")
	CodeUnsupportedMediaType = newCode("unsupported_media_type:chat")
	CodeRateLimit            = newCode("rate_limit:chat")
	CodeOverloaded           = newCode("overloaded:chat")
	codeShuttingDown         = newCode("shutting_down:proxy")

	CodeBadRequestStream = newCode("bad_request:stream")
	CodeNotFoundStream   = newCode("not_found:stream")
	CodeConflictStream   = newCode("conflict:stream")
	CodeLost             = newCode("lost:instance")
	CodeUnavailableStore = newCode("unavailable:store")
)

// Codes of the errors that the upstream causes.
var (
	CodeBadGateway           = newCode("bad_gateway:upstream")
	CodeBlockedUpstream      = newCode("blocked:upstream")
	codeBadRequestUpstream   = newCode("bad_request:upstream")
	codeNotFoundUpstream     = newCode("not_found:upstream")
	codeOverloadedUpstream   = newCode("overloaded:upstream")
	codeRateLimitUpstream    = newCode("rate_limit:upstream")
	codeServerErrorUpstream  = newCode("server_error:upstream")
	codeTimeoutUpstream      = newCode("timeout:upstream")
	codeTooLargeUpstream     = newCode("too_large:upstream")
	CodeUnauthorizedUpstream = newCode("unauthorized:upstream")
)

// Codes that only interruptions have. Interruptions can also have codes of errors.
var (
	codeClosed      = Code{"closed:upstream"}
	codeStalled     = Code{"stalled:upstream"}
	codeMaxDuration = Code{"max_duration:upstream"}
	codeLeak        = Code{"leak:upstream"}
	codeStopped     = Code{"stopped:visitor"}
	codeAbandoned   = Code{"abandoned:visitor"}
)
