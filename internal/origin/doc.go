// Package origin decides which web pages may use the chat. These are pages of the site itself, and pages of other
// origins that the operator allows. The package does not stop clients other than browsers, because they can claim any
// origin.
package origin
