package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"time"
)

// This file is a file system in memory, whose files know the header of their response.

// How long a browser keeps a file. One whose URL has a hash of its content never changes, so even a shared cache may keep it:
// none of these files is private.
const (
	unchanging = "public, max-age=31536000, immutable"
	revalidate = "no-cache"
)

// contentTypes are set here because the system's table, which Caddy would ask, may have others.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is a file of the page.
type file struct {
	name    string
	content []byte
	etag    string
	caching string
}

// setHeader sets the header fields of a response with the file.
func (f *file) setHeader(header http.Header) {
	extension := path.Ext(f.name)
	header.Set("Content-Type", contentTypes[extension])
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", f.caching)
	header.Set("Etag", f.etag) // the file server takes it over
	if extension == ".js" {
		// Pages of other origins may import the modules, which are public, but not with a visitor's login.
		header.Set("Access-Control-Allow-Origin", "*")
	}
}

// files are files by their names. It is a file system without folders.
type files map[string]*file

// add adds a file. Its ETag depends on the content, and on also: a browser must fetch the file again if one of these changes.
func (f files) add(name, caching string, content []byte, also ...string) {
	f[name] = &file{name: name, content: content, caching: caching, etag: `"` + hashOf(content, also...) + `"`}
}

// addHashed adds a file below assets, and returns its name with the hash of its content.
func (f files) addHashed(name string, content []byte) string {
	name = assets + hashOf(content) + "/" + name
	f.add(name, unchanging, content)
	return name
}

// hashOf returns a hash of the content and further texts.
func hashOf(content []byte, also ...string) string {
	hash := sha256.New()
	hash.Write(content)
	for _, text := range also {
		hash.Write([]byte{0})
		hash.Write([]byte(text))
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// Open opens a file. On Windows, the file server asks for it with backslashes.
func (f files) Open(name string) (fs.File, error) {
	found, ok := f[filepath.ToSlash(name)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openFile{Reader: bytes.NewReader(found.content), file: found}, nil
}

// openFile is a file that is being read. Each response has one of its own.
type openFile struct {
	*bytes.Reader
	file *file
}

func (o *openFile) Stat() (fs.FileInfo, error) { return info{o.file}, nil }
func (o *openFile) Close() error               { return nil }

// info describes a file. It has no time, because two instances with the same content have to agree.
type info struct{ file *file }

func (i info) Name() string       { return path.Base(i.file.name) }
func (i info) Size() int64        { return int64(len(i.file.content)) }
func (i info) Mode() fs.FileMode  { return 0o444 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
