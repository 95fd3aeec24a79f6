// Package limit decides whether there is room for a chat: by the windows of its rules, by the open streams, and by a
// cool-down that the upstream has asked for. Instances that share a counter decide together. A request is counted once
// or not at all, every slot is released, and the counts survive a reload of the config. The caller chooses the client
// and the keys that a request is counted under.
package limit
