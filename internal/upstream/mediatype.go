package upstream

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream"
)

// knownTypes are media types that are no chat answer's. An error may print these, because they say nothing about the
// answer.
var knownTypes = []string{
	"application/grpc", "application/jsonl", "application/problem+json", "application/x-ndjson", "application/xml",
	"application/xhtml+xml", "text/html", "text/javascript", "text/xml",
}

// answerType returns the kind of answer that a response with these headers holds: streamType or jsonType. It returns
// an error if the response holds no chat answer, or if several Content-Type fields contradict each other.
func answerType(header http.Header) (string, error) {
	fields := header["Content-Type"]
	if len(fields) == 1 && (fields[0] == streamType || fields[0] == jsonType) { // the common case
		return fields[0], nil
	}
	kind := ""
	for _, field := range fields {
		for _, contentType := range members(field) {
			k, err := kindOf(mediaType(contentType))
			switch {
			case err != nil:
				return "", err
			case kind != "" && k != kind:
				return "", errors.New("it has several types that contradict each other")
			}
			kind = k
		}
	}
	if kind == "" {
		return streamType, nil
	}
	return kind, nil
}

// members splits a Content-Type field into its members. A proxy on the way may have joined several fields by commas
// (RFC 9110, § 8.3). A field with a quoted parameter is one member, because a comma may be part of the parameter.
func members(field string) []string {
	if strings.Contains(field, `"`) {
		return []string{field}
	}
	return slices.DeleteFunc(strings.Split(field, ","), func(member string) bool { return strings.TrimSpace(member) == "" })
}

// kindOf returns the kind of answer of a media type.
func kindOf(media string) (string, error) {
	switch media {
	case streamType, "text/plain", "application/octet-stream":
		return streamType, nil
	case jsonType:
		return jsonType, nil
	case "":
		return "", errors.New("its type is malformed")
	}
	if slices.Contains(knownTypes, media) {
		return "", fmt.Errorf("its type is %s", media)
	}
	return "", errors.New("its type is not that of a chat's answer")
}

// mediaType returns a Content-Type without its parameters, even if those are malformed. It returns "" if the type
// itself is malformed.
func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return media
}
