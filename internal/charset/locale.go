package charset

import (
	"cmp"
	"strings"
)

// Locale returns the locale that decides the charset of a program with these environment variables:
// the first of LC_ALL, LC_CTYPE and LANG that is not empty (POSIX.1, Base Definitions, 8.2). It is
// empty if none is set.
func Locale(getenv func(name string) string) string {
	return cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG"))
}

// OfLocale returns what programs print in the locale of this name: UTF8, GBK or GB18030, or Raw for a
// charset that is none of these, such as Big5. chinese reports whether text in the other GB encodings is
// likely to be about: the language is Chinese, and the charset one of the three.
func OfLocale(name string) (m Mode, chinese bool) {
	name, _, _ = strings.Cut(name, "@") // a modifier such as @pinyin changes no charset
	place, codeset, _ := strings.Cut(name, ".")
	language := place
	if i := strings.IndexAny(place, "_-"); i >= 0 {
		language = place[:i]
	}
	switch { // glibc's own choices, older than UTF-8
	case codeset != "":
	case place == "zh_CN", place == "zh_SG":
		codeset = "GB2312"
	case place == "zh_TW", place == "zh_HK":
		codeset = "BIG5"
	}
	switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(codeset)) {
	case "gb18030":
		return GB18030, true
	case "gbk", "cp936", "gb2312", "euccn": // EUC-CN is how BSD and macOS call GB 2312
		return GBK, true
	case "", "utf8":
		return UTF8, language == "zh"
	}
	return Raw, false
}
