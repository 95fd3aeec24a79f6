// Package site finds what is wrong with a running site. It sends the site requests as browsers and strangers would: over
// each version of HTTP, from pages of several origins, and with forged addresses. It judges only what arrives.
// It shares only the parsers of event streams and of origins with the handler, so that few faults could be in both.
//
// The checks are named as follows. The names do not change, because machines read them.
//
//	reachable       the site accepts connections
//	certificate     browsers accept its certificate
//	http/1.1        it speaks HTTP/1.1
//	http/2          it speaks HTTP/2
//	http/3          it speaks HTTP/3
//	handler         the chat answers, and nothing in front of it
//	refusals        refusals arrive in the shape that a page reads
//	own_page        the site's own pages may use the chat
//	foreign_page    a page of another origin may not
//	form            nor may its form
//	text_plain      nor may its text/plain request, which needs no preflight
//	allowed_page    a page of the origin that the operator names may
//	cost            how many chats the check sends
//	chat            a chat gets an answer
//	events          the answer's events arrive one by one
//	compression     the answer is not compressed
//	headers         the answer has the headers that the chat sets
//	bytes           the answer consists of whole events
//	finish          it has exactly one finish
//	error_pages     errors 502 and 504 are not replaced
//	limit           there is a limit for each client
//	forged_address  a forged address does not bypass it
//	disconnect      the upstream request ends when the visitor disconnects
//	resume          an answer continues over another connection, and stops when asked to
//	token           nothing that arrived has the form of an API token
//
// No request that costs nothing gets a 502 or a 504 from the chat. So error_pages judges those that a chat happens to get,
// and the pages that arrive in place of other refusals belong to refusals.
package site
