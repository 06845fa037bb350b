// Reads forms as net/http does: a line of standard input has a content type and a body in hexadecimal.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		contentType, digits, _ := strings.Cut(lines.Text(), "\t")
		body, err := hex.DecodeString(digits)
		if err != nil {
			panic(err)
		}
		request, err := http.NewRequest("POST", "/", bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		request.Header.Set("Content-Type", contentType)
		from := request.PostFormValue("from")
		fmt.Printf("%x %s %s %s\n", from, request.PostFormValue("event"), request.PostFormValue("sequence"), request.PostFormValue("time"))
	}
}
