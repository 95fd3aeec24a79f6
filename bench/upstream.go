package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveUpstream answers each chat by its plan. It speaks just enough HTTP/1.1, so that it leaves most of the machine to the proxy.
func serveUpstream(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 1024)
			for {
				p, err := readPlan(r)
				if err != nil {
					return
				}
				if err := p.answerChunked(conn); err != nil {
					return
				}
				if p.Hold {
					_, _ = r.ReadByte() // until the connection ends
					return
				}
			}
		}()
	}
}

// plan says what the upstream answers. It is the text of the chat's message.
type plan struct {
	Events int           `json:"events"`
	Burst  int           `json:"burst"`
	Size   int           `json:"size"`
	Pause  time.Duration `json:"pause"`
	Hold   bool          `json:"hold"` // without a finish, and without an end
}

// readPlan reads a request from a connection.
func readPlan(r *bufio.Reader) (*plan, error) {
	request, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	return planOf(request)
}

// planOf returns the plan in a request.
func planOf(request *http.Request) (*plan, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	var chat struct{ Messages []struct{ Content string } }
	if err := json.Unmarshal(body, &chat); err != nil {
		return nil, err
	}
	if len(chat.Messages) == 0 || request.Header.Get("Authorization") != "Bearer "+token {
		return nil, errors.New("this is no chat")
	}
	p := new(plan)
	return p, json.Unmarshal([]byte(chat.Messages[len(chat.Messages)-1].Content), p)
}

// The parts of a stream.
const (
	streamHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	eventBegins  = `data: {"type":"text-delta","textDelta":"`
	eventStamp   = "0123456789 0123456789012345678 " // its number, and the time at which it is sent, in nanoseconds
	eventEnds    = "\"}\n\n"
	finishBegins = `data: {"type":"finish","finishReason":"stop"`
	finishEnds   = "}\n\n"
	bodyEnds     = "0\r\n\r\n"
)

// answerChunked writes the stream to an HTTP/1.1 connection.
func (p *plan) answerChunked(w io.Writer) error {
	if _, err := io.WriteString(w, streamHead); err != nil {
		return err
	}
	var chunk []byte
	return p.answer(func(events []byte, last bool) error {
		chunk = appendChunk(chunk[:0], events)
		if last {
			chunk = append(chunk, bodyEnds...)
		}
		_, err := w.Write(chunk)
		return err
	})
}

// answer calls write with the stream, piece by piece.
func (p *plan) answer(write func(events []byte, last bool) error) error {
	padding := strings.Repeat("x", max(0, p.Size-len(eventBegins+eventStamp+eventEnds)))
	var events []byte
	for n := 0; n < p.Events; {
		time.Sleep(p.Pause)
		events = events[:0]
		for now := time.Now(); n < p.Events && len(events) < p.Burst*p.Size; n++ {
			events = fmt.Appendf(events, "%s%010d %019d %s%s", eventBegins, n, now.UnixNano(), padding, eventEnds)
		}
		if err := write(events, false); err != nil {
			return err
		}
	}
	if p.Hold {
		return nil
	}
	return write([]byte(finishBegins+finishEnds), true)
}

func appendChunk(b, data []byte) []byte {
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(b, "\r\n"...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}
