// Package limit decides whether there is room for a chat. It decides by the windows of its rules, the open streams, and
// a cool-down that the upstream has asked for. Instances that share a counter decide together. A request is counted
// once or not at all, and every slot is released. The counts survive a reload of the config. The caller chooses the
// client and the keys that a request is counted under.
package limit
