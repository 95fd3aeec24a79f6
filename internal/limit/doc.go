// Package limit decides whether there is room for a chat: by the windows of its rules, by open streams, and by a cool-down that
// the upstream has asked for, together with other instances where they share a counter. A request is counted once or not at
// all, every slot is given back, and what is counted survives a reload of the config. Whom a request is counted as is up to
// the caller.
package limit
