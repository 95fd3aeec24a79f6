package sandbox

// The commands that shape any answer.

func slow(s *stream, a args)      { s.headDelay = a.wait }
func slowFirst(s *stream, a args) { s.firstDelay = a.wait }
func chunk(s *stream, a args)     { s.chunk = a.n }
func drip(s *stream, a args)      { s.chunk, s.chunkPause = a.n, a.wait }
func burst(s *stream, a args)     { s.burst = max(1, a.n) }
func comments(s *stream, a args)  { s.comments = a.n }
func crlf(s *stream, _ args)      { s.lineEnd = "\r\n" }
func cr(s *stream, _ args)        { s.lineEnd = "\r" }
func gzipped(s *stream, _ args)   { s.gzip = true }
func labelled(s *stream, a args)  { s.mediaType = a.text }
