// Package charset converts text between UTF-8 and the Chinese national encodings: GBK (code page 936)
// and GB 18030, as the WHATWG Encoding Standard defines them in its edition of GB 18030-2022.
//
// It owns the tables, the streaming [Converter] with its rule for output of unknown charset, and the
// strict [EncodeCommand] for command lines. It does not know where bytes come from or go to. It must
// import the standard library only, and does nothing at start-up: tables are built on first use.
package charset

import (
	"fmt"
	"strings"
)

// Mode is a charset, or a way to find it out.
type Mode uint8

// The modes. Auto and Raw make sense as the source of a conversion only.
const (
	Raw     Mode = iota // bytes as they are
	Auto                // line by line: UTF-8 stays, GB 18030 is converted, anything else stays
	UTF8                // UTF-8
	GBK                 // GBK, code page 936; decodes as GB18030 does
	GB18030             // GB 18030-2022
)

// String is the mode's name, as ParseMode reads it.
func (m Mode) String() string {
	switch m {
	case Raw:
		return "raw"
	case Auto:
		return "auto"
	case UTF8:
		return "utf-8"
	case GBK:
		return "gbk"
	case GB18030:
		return "gb18030"
	}
	return fmt.Sprintf("charset %d", uint8(m))
}

// gb reports whether m is one of the GB encodings.
func (m Mode) gb() bool { return m == GBK || m == GB18030 }

// ParseMode reads a mode's name. Case does not matter, and utf8, cp936 and gb2312 are taken for what
// people mean by them.
func ParseMode(name string) (Mode, error) {
	switch strings.ToLower(name) {
	case "raw":
		return Raw, nil
	case "auto":
		return Auto, nil
	case "utf-8", "utf8":
		return UTF8, nil
	case "gbk", "cp936", "gb2312":
		return GBK, nil
	case "gb18030":
		return GB18030, nil
	}
	return Raw, fmt.Errorf("charset %q: want auto, raw, utf-8, gbk or gb18030", name)
}
