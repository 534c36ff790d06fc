package config

import (
	"errors"
	"fmt"
	"strings"
)

func checkBanner(s string) error {
	switch {
	case len(s) > MaxBanner:
		return fmt.Errorf("must have at most %d bytes, not %d", MaxBanner, len(s))
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("must not contain NUL")
	}
	return nil
}

// checkOneBanner finds the text and the file that are both given.
func checkOneBanner(doc *document, b Banner) problems {
	if b.Text == "" || b.File == "" {
		return nil
	}
	const key = "file"
	return problems{{Line: doc.line([]string{"banner", key}), Key: "banner." + key,
		Msg: "there is banner.text already", Hint: "remove one of the two"}}
}
