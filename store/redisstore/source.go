package redisstore

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/store"
)

// source is a stream that this instance writes into memory. From there it goes to Redis, as fast as Redis takes it.
type source struct {
	store.Source // in memory
	replica      *replica
}

// Open opens the stream. Listeners get the header once other instances can find the stream.
func (s *source) Open(header http.Header) { s.replica.open(header) }

func (s *source) Append(ctx context.Context, chunk store.Chunk) error {
	if err := s.Source.Append(ctx, chunk); err != nil {
		return err
	}
	s.replica.grown()
	return nil
}

func (s *source) Finish(last store.Chunk, end store.End) {
	s.Source.Finish(last, end)
	s.replica.finish(end)
	s.settle()
}

func (s *source) Fail(reason []byte) {
	s.Source.Fail(reason)
	s.replica.fail(reason)
	s.settle()
}

// settle waits until Redis has everything, if the process is exiting, because nothing else would wait. It waits for
// callTimeout at most.
func (s *source) settle() {
	if !caddy.Exiting() || s.replica.of.store.link.down(s.replica.key) {
		return
	}
	select {
	case <-s.replica.done:
	case <-time.After(callTimeout):
	}
}
