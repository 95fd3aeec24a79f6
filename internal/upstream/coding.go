package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// harmlessCodings are the content codings that change no bytes. RFC 9110, § 8.4.1, reserves identity. Servers that
// switch a compressing proxy off for one answer send none, or nothing.
var harmlessCodings = []string{"", "identity", "none"}

// knownCodings are the content codings of the IANA registry that change bytes, and those of clouds. An error may print
// these, because they say nothing about the answer.
var knownCodings = []string{
	"aes128gcm", "aws-chunked", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "pack200-gzip", "x-compress",
	"x-gzip", "zstd",
}

// checkCodings returns an error if a body with these headers is encoded, so that its bytes are not the answer's. An
// empty member of a list counts as none (RFC 9110, § 5.6.1).
func checkCodings(header http.Header) error {
	for _, list := range header["Content-Encoding"] {
		for coding := range strings.SplitSeq(list, ",") {
			coding = strings.ToLower(strings.Trim(coding, " \t"))
			switch {
			case slices.Contains(harmlessCodings, coding):
			case slices.Contains(knownCodings, coding):
				return fmt.Errorf("its content coding is %s", coding)
			default:
				return errors.New("its content coding is unknown")
			}
		}
	}
	return nil
}
