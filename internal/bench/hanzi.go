//go:build linux

package main

import (
	"math/rand/v2"

	"rexec/internal/charset"
)

// common are hanzi of Chinese prose, about in the order of how often they occur in it.
const common = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里" +
	"用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实" +
	"日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政" +
	"美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员" +
	"解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件" +
	"计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象" +
	"完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔落际始近" +
	"火热八议争联九六七布究收往备改红转增研率存准离引亲城台研族远精青根济参满集示众快单史土专布广低步续约" +
	"况响语越流商连费备包复照办查器片周料影装整江易服号置往克深局值选段究标找划调士容病未紧房群持虽举拿职"

// The share of what is not one of them, in 1000 characters.
const (
	punctuation = 90
	rare        = 100 // any of the 3755 hanzi that a reader knows: level 1 of GB 2312
)

// prose draws the characters of Chinese prose.
type prose struct {
	r    *rand.Rand
	drum [1 << 16]rune // each of them as often as it occurs
}

func newProse(r *rand.Rand) *prose {
	p := &prose{r: r}
	var ranked []rune
	seen := map[rune]bool{}
	for _, c := range common {
		if !seen[c] {
			seen[c] = true
			ranked = append(ranked, c)
		}
	}
	// Zipf's law, flattened at its top as characters have it.
	const flat = 10
	total := 0.0
	for i := range ranked {
		total += 1 / float64(i+flat)
	}
	drum := p.drum[:0]
	room := float64(len(p.drum) * (1000 - punctuation - rare) / 1000)
	for i, c := range ranked {
		for range int(room / float64(i+flat) / total) {
			drum = append(drum, c)
		}
	}
	for range len(p.drum) * punctuation / 1000 {
		drum = append(drum, []rune("，，，，。。、")[r.IntN(7)])
	}
	level1 := levelOne()
	for i := 0; len(drum) < len(p.drum); i++ {
		drum = append(drum, level1[i%len(level1)])
	}
	return p
}

// levelOne returns the hanzi of level 1 of GB 2312: rows 0xB0 to 0xD7, of which the last one is short.
func levelOne() []rune {
	var codes []byte
	for lead := byte(0xB0); lead <= 0xD7; lead++ {
		last := byte(0xFE)
		if lead == 0xD7 {
			last = 0xF9
		}
		for trail := byte(0xA1); trail <= last; trail++ {
			codes = append(codes, lead, trail)
		}
	}
	return []rune(string(charset.NewConverter(charset.GBK, charset.UTF8).Append(nil, codes)))
}

func (p *prose) next() rune { return p.drum[p.r.Uint32()>>16] }
