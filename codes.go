package illumichat

import "slices"

// errorCode is the code of an error or of an interruption, "<type>:<context>". Only this file can make one, so that the list of codes
// is complete.
type errorCode struct{ name string }

func (c errorCode) String() string { return c.name }

// errorCodes are the codes of errors, in the order in which they are declared below.
var errorCodes []errorCode

// allCodes returns the codes that an error of ours can have.
func allCodes() []errorCode { return slices.Clone(errorCodes) }

func newCode(name string) errorCode {
	c := errorCode{name}
	errorCodes = append(errorCodes, c)
	return c
}

// The codes of errors that are ours.
var (
	codeBadRequest           = newCode("bad_request:chat")
	codeForbiddenAssistant   = newCode("forbidden:assistant")
	codeForbiddenOrigin      = newCode("forbidden:origin")
	codeMethodNotAllowed     = newCode("method_not_allowed:chat")
	codeTimeout              = newCode("timeout:chat")
	codeTooLarge             = newCode("too_large:chat")
	codeUnsupportedMediaType = newCode("unsupported_media_type:chat")
	codeRateLimit            = newCode("rate_limit:chat")
	codeOverloaded           = newCode("overloaded:chat")
	codeShuttingDown         = newCode("shutting_down:proxy")

	codeBadRequestStream = newCode("bad_request:stream")
	codeNotFoundStream   = newCode("not_found:stream")
	codeUnavailableStore = newCode("unavailable:store")
)

// The codes of errors that the upstream is the reason for.
var (
	codeBadGateway           = newCode("bad_gateway:upstream")
	codeBadRequestUpstream   = newCode("bad_request:upstream")
	codeNotFoundUpstream     = newCode("not_found:upstream")
	codeOverloadedUpstream   = newCode("overloaded:upstream")
	codeRateLimitUpstream    = newCode("rate_limit:upstream")
	codeServerErrorUpstream  = newCode("server_error:upstream")
	codeTimeoutUpstream      = newCode("timeout:upstream")
	codeTooLargeUpstream     = newCode("too_large:upstream")
	codeUnauthorizedUpstream = newCode("unauthorized:upstream")
)

// The codes of interruptions, beside those of errors.
var (
	codeClosed      = errorCode{"closed:upstream"}
	codeStalled     = errorCode{"stalled:upstream"}
	codeMaxDuration = errorCode{"max_duration:upstream"}
	codeLeak        = errorCode{"leak:upstream"}
	codeStopped     = errorCode{"stopped:visitor"}
	codeAbandoned   = errorCode{"abandoned:visitor"}
	codeLost        = errorCode{"lost:instance"}
)
