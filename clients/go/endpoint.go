package channel

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

const defaultURL = "http://127.0.0.1:8080"

// findEndpoint takes what is given, and the rest from PUSHLINE_URL, PUSHLINE_API_KEY or PUSHLINE_API_KEY_FILE.
func findEndpoint(address, apiKey string) (string, string, error) {
	address, err := checkedURL(first(address, os.Getenv("PUSHLINE_URL"), defaultURL))
	if err != nil {
		return "", "", err
	}
	keys := first(apiKey, os.Getenv("PUSHLINE_API_KEY"))
	if keys == "" {
		if keys, err = fileOf("PUSHLINE_API_KEY_FILE"); err != nil {
			return "", "", err
		}
	}
	key, err := checkedKey(keys)
	return address, key, err
}

// checkedURL is address without a slash at its end.
func checkedURL(address string) (string, error) {
	parts, err := url.Parse(address)
	if err != nil || (parts.Scheme != "http" && parts.Scheme != "https") || parts.Hostname() == "" {
		return "", fmt.Errorf("%q is no address of Pushline: write one like %s", address, defaultURL)
	}
	if parts.User != nil || parts.RawQuery != "" || parts.Fragment != "" {
		return "", errors.New("the address of Pushline has a user name, a query or a fragment: " +
			"write scheme, host, port and path only")
	}
	return strings.TrimRight(address, "/"), nil
}

func checkedKey(keys string) (string, error) {
	words := strings.Fields(keys)
	if len(words) == 0 {
		return "", errors.New("there is no API key: pass one, or set PUSHLINE_API_KEY or PUSHLINE_API_KEY_FILE; " +
			"the start message of `pushline serve` says where the key is")
	}
	key := words[0] // of several that are good at once (contract, R3) the first is the newest
	for _, character := range []byte(key) {
		if character < ' ' || character > '~' {
			return "", errors.New("the API key has characters that a header cannot carry: is it the right text?")
		}
	}
	return key, nil
}

// fileOf is the text of the file that a variable names; empty when it names none.
func fileOf(variable string) (string, error) {
	path := os.Getenv(variable)
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", variable, err)
	}
	return string(text), nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
