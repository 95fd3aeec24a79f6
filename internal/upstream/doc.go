// Package upstream sends chats to the chat API. It builds the request, sends it once, and decides which responses count
// as an answer. It is the only package that can read the token; other packages can only ask whether some bytes hold it.
// The caller decides when to make another attempt, because that depends on what the visitor has been sent.
package upstream
