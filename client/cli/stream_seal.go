package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

const (
	// leastPassphrase is how long a passphrase is at least, in bytes.
	leastPassphrase = 12
	// mostPassphrase bounds what is read of a file that is none.
	mostPassphrase = 1024
	// sealedMagic is how each file begins that age has sealed.
	sealedMagic = "age-encryption.org/v1\n"
	// mostWork bounds, as a power of two, what opening a hostile file costs; sealing takes 2^18, about a second.
	mostWork = 20
)

// readPassphrase is the first line of a file, or of stdin for "-".
func readPassphrase(env Env, path string) (string, error) {
	from := env.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", UsageErrorf("read the passphrase: %w", err)
		}
		defer file.Close() // read only
		from = file
	}
	line, err := bufio.NewReader(io.LimitReader(from, mostPassphrase)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", UsageErrorf("read the passphrase from %s: %w", path, err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", UsageErrorf("the first line of %s is empty: it should be the passphrase", path)
	}
	return line, nil
}

// seal encrypts what is written, with a passphrase. It is whole once it is closed.
func seal(to io.Writer, passphrase string) (io.WriteCloser, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("seal the export: %w", err)
	}
	sealed, err := age.Encrypt(to, recipient)
	if err != nil {
		return nil, fmt.Errorf("seal the export: %w", err)
	}
	return sealed, nil
}

// unseal opens what seal has sealed, and gives anything else as it is.
func unseal(from io.Reader, passphrase string) (io.Reader, error) {
	buffered := bufio.NewReader(from)
	start, err := buffered.Peek(len(sealedMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read: %w", err)
	}
	sealed := string(start) == sealedMagic
	switch {
	case sealed && passphrase == "":
		return nil, UsageErrorf("the file is sealed: give --passphrase-file")
	case !sealed && passphrase != "":
		return nil, UsageErrorf("the file is not sealed: import it without --passphrase-file, if that is what you expect")
	case !sealed:
		return buffered, nil
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("open the sealed file: %w", err)
	}
	identity.SetMaxWorkFactor(mostWork)
	opened, err := age.Decrypt(buffered, identity)
	if err != nil {
		return nil, errors.New("the sealed file does not open: the passphrase is another, or its beginning was altered")
	}
	return opened, nil
}
