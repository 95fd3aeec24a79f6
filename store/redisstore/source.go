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
	store.Source
	replica *replica

	store *redisStore
	id    string
	meta  store.Meta
	terms store.Terms
}

func (s *source) Open(header http.Header) {
	s.replica = s.store.replicator.begin(s.id, s.Source, s.meta, header, s.terms)
	s.Source.Open(header)
}

func (s *source) Append(ctx context.Context, chunk store.Chunk) error {
	if err := s.Source.Append(ctx, chunk); err != nil {
		return err
	}
	s.replica.add(chunk, nil)
	return nil
}

// Finish ends the stream. If the process is exiting, Finish waits for Redis for up to callTimeout, because nothing else
// would.
func (s *source) Finish(last store.Chunk, end store.End) {
	kept := s.replica.isKept() // asked first, because an ended stream may have to make room for others
	s.Source.Finish(last, end)
	if kept {
		s.replica.add(last, &end)
	} else {
		s.replica.drop()
	}
	if caddy.Exiting() && s.replica.of.store.Shared() {
		select {
		case <-s.replica.done:
		case <-time.After(callTimeout):
		}
	}
}
