// What layer.rs is compared with: a layer made with Go's own packages in the order in which the
// buildpacks lifecycle does it. First the tar is written to a file, while another goroutine hashes
// it; then the file is read again, compressed and hashed. (The lifecycle compresses once more when
// it pushes, and writes the tar without a buffer: here neither is held against it.)
//
// usage: layer gzip FILE OUTPUT
//
//	layer layer FOLDER OUTPUT
package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func main() {
	var err error
	switch os.Args[1] {
	case "gzip":
		err = compress(os.Args[2], os.Args[3], io.Discard)
	case "layer":
		err = layer(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// layer writes the layer of a folder to output, and what it is to output.txt.
func layer(folder, output string) error {
	plain := output + ".tar"
	diffID, err := archive(folder, plain)
	if err != nil {
		return err
	}
	digest := sha256.New()
	if err := compress(plain, output, digest); err != nil {
		return err
	}
	if err := os.Remove(plain); err != nil {
		return err
	}
	text := fmt.Sprintf("sha256:%x sha256:%x\n", diffID, digest.Sum(nil))
	return os.WriteFile(output+".txt", []byte(text), 0o644)
}

// archive writes the tar of a folder, and returns its hash.
func archive(folder, output string) ([]byte, error) {
	file, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	chunks, sum := make(chan []byte, 10), make(chan []byte)
	go func() {
		hash := sha256.New()
		for chunk := range chunks {
			hash.Write(chunk)
		}
		sum <- hash.Sum(nil)
	}()
	buffer := bufio.NewWriterSize(io.MultiWriter(file, copies(chunks)), 64<<10)
	writer := tar.NewWriter(buffer)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return add(writer, folder, path, entry)
	})
	if err == nil {
		err = writer.Close()
	}
	if err == nil {
		err = buffer.Flush()
	}
	close(chunks)
	return <-sum, err
}

// add adds one file or folder, without what differs from machine to machine.
func add(writer *tar.Writer, folder, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	below, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	header.Name = filepath.Join("/layer", below)
	header.Uid, header.Gid = 1000, 1000
	header.Uname, header.Gname = "", ""
	header.ModTime = time.Unix(315532801, 0)
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(writer, file)
	return err
}

// compress compresses a file; what it writes goes to also, too.
func compress(path, output string, also io.Writer) error {
	input, err := os.Open(path)
	if err != nil {
		return err
	}
	defer input.Close()
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer file.Close()
	buffer := bufio.NewWriterSize(io.MultiWriter(file, also), 64<<10)
	writer, err := gzip.NewWriterLevel(buffer, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(writer, onlyReader{input}, make([]byte, 256<<10)); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return buffer.Flush()
}

// copies sends a copy of all that is written to it.
type copies chan<- []byte

func (c copies) Write(bytes []byte) (int, error) {
	c <- append([]byte(nil), bytes...)
	return len(bytes), nil
}

// onlyReader hides what else a file can do, so that io.CopyBuffer uses the buffer it is given.
type onlyReader struct{ inner io.Reader }

func (r onlyReader) Read(bytes []byte) (int, error) { return r.inner.Read(bytes) }
