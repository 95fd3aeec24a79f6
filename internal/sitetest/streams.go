package sitetest

import "strings"

// Streams are whole streams, with all that may stand in one.
var Streams = map[string]string{
	"LF":        Delta + Delta + Finish,
	"CRLF":      strings.ReplaceAll(Delta+Delta+Finish, "\n", "\r\n"),
	"CR":        strings.ReplaceAll(Delta+Delta+Finish, "\n", "\r"),
	"mixed":     "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n" + Finish,
	"UTF-8":     "data: grüße, 世界 🙂\n\n" + Finish,
	"BOM":       "\uFEFF" + Finish,
	"comments":  ": hi\n\n" + Delta + ":\n\n: x\n" + Finish,
	"fields":    "event: message\nid: 1\nretry: 5\n" + Delta + Finish,
	"types":     "event: mood\nid: 7\n" + Delta + Delta + "event: mood\nid: 8\n" + Finish,
	"lines":     "data: {\"type\":\ndata: \"text-delta\"}\n\n" + Finish,
	"not JSON":  "data: [DONE\n\n" + "data\n\n" + Finish,
	"blank":     "\n\n\n" + Delta + "\n\n" + Finish,
	"quotes":    `data: {"type":"text-delta","textDelta":"{\"type\":\"finish\"}"}` + "\n\n" + Finish,
	"goes on":   Finish + Delta + ": bye\n\n",
	"large":     "data: " + strings.Repeat("x", 10_000) + "\n\n" + Finish,
	"64 KiB":    "data: " + strings.Repeat("x", 64<<10-8) + "\n\n" + Finish,
	"too large": Delta + "data: " + strings.Repeat("grüße ", 40_000) + "\n\n" + Delta + Finish,
	"large finish": Delta + `data: {"type":"finish","finishReason":"stop","usage":"` +
		strings.Repeat("x", 128<<10) + `"}` + "\n\n",
}
