package charset

import "testing"

func TestLocale(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{nil, ""},
		{map[string]string{"LANGUAGE": "zh_CN.GBK", "LC_MESSAGES": "zh_CN.GBK"}, ""},
		{map[string]string{"LANG": "C.UTF-8"}, "C.UTF-8"},
		{map[string]string{"LANG": "C.UTF-8", "LC_CTYPE": "zh_CN.GBK"}, "zh_CN.GBK"},
		{map[string]string{"LANG": "C.UTF-8", "LC_CTYPE": "zh_CN.GBK", "LC_ALL": "POSIX"}, "POSIX"},
		{map[string]string{"LANG": "zh_CN.GBK", "LC_CTYPE": "", "LC_ALL": ""}, "zh_CN.GBK"},
		{map[string]string{"LANG": "", "LC_CTYPE": "", "LC_ALL": ""}, ""},
	} {
		if got := Locale(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.env, got, tt.want)
		}
	}
}

func TestOfLocale(t *testing.T) {
	for _, tt := range []struct {
		name    string
		want    Mode
		chinese bool
	}{
		{"", UTF8, false},
		{"C", UTF8, false},
		{"POSIX", UTF8, false},
		{"C.UTF-8", UTF8, false},
		{"en_US", UTF8, false},
		{"en_US.utf8", UTF8, false},
		{"de_DE@euro", UTF8, false},
		{"de_DE.ISO-8859-15@euro", Raw, false},
		{"ja_JP.eucJP", Raw, false},
		{"/usr/lib/locale/x", UTF8, false},
		{"zhx_CN", UTF8, false},
		{".", UTF8, false},
		{"@", UTF8, false},

		{"zh", UTF8, true},
		{"zh_CN.UTF-8", UTF8, true},
		{"zh_CN.utf8@pinyin", UTF8, true},
		{"zh-Hans_CN.UTF-8", UTF8, true},
		{"zh_SG.UTF-8", UTF8, true},
		{"zh_TW", Raw, false},
		{"zh_TW.BIG5", Raw, false},
		{"zh_HK.BIG5-HKSCS", Raw, false},
		{"zh_CN.C", Raw, false},
		{"zh_CN@GBK", GBK, true}, // a modifier is no codeset; without one it is GB 2312

		// glibc's locales without a codeset.
		{"zh_CN", GBK, true},
		{"zh_SG", GBK, true},
		{"zh_SG@x", GBK, true},
		{"zh_CN.", GBK, true},

		{"zh_CN.GB2312", GBK, true},
		{"zh_CN.gb2312", GBK, true},
		{"zh_CN.GBK", GBK, true},
		{"zh_CN.gbk@x", GBK, true},
		{"zh_SG.GBK", GBK, true},
		{"zh_CN.CP936", GBK, true},
		{"zh_CN.cp-936", GBK, true},
		{"zh_CN.eucCN", GBK, true},
		{"zh_CN.EUC-CN", GBK, true},
		{"zh_CN.GB18030", GB18030, true},
		{"zh_CN.gb18030", GB18030, true},
		{"zh_CN.GB-18030", GB18030, true},
		{"zh_CN.gb_18030@pinyin", GB18030, true},
		{"en_US.GB18030", GB18030, true},
		{"C.GBK", GBK, true},
		{"zh_CN.GBK2", Raw, false},
	} {
		if m, chinese := OfLocale(tt.name); m != tt.want || chinese != tt.chinese {
			t.Errorf("%q: %v, chinese %v; want %v, %v", tt.name, m, chinese, tt.want, tt.chinese)
		}
	}
}
