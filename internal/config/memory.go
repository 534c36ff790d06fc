package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Memory is an amount of memory: bytes, or a part of what the machine has. The
// zero value is no limit.
type Memory struct {
	Bytes   uint64
	Percent int // 1 to 100; 0 if it is in bytes
}

// Of returns the amount in bytes on a machine with total bytes; 0 is no limit.
func (m Memory) Of(total uint64) uint64 {
	if m.Percent > 0 {
		return total / 100 * uint64(m.Percent)
	}
	return m.Bytes
}

// minMemory is about what a command needs to start at all.
const minMemory = 1 << 20

// memory is a [Memory] in the form of "2GiB", "50%" or "unlimited", or bytes as a number.
type memory struct{ p *Memory }

func (m *memory) set(v any) error {
	const want = `"unlimited", a size in quotes such as "512MiB" (units KiB, MiB, GiB, TiB), a part of the machine's memory such as "50%", or bytes`
	var out Memory
	switch v := v.(type) {
	case int64:
		if v < minMemory {
			return fmt.Errorf("must be at least 1MiB, not %d bytes", v)
		}
		out.Bytes = uint64(v)
	case string:
		var ok bool
		if out, ok = parseMemory(v); !ok {
			return fmt.Errorf("must be %s, not %s", want, quoted(v))
		}
		if v != unlimited && out.Percent == 0 && out.Bytes < minMemory {
			return fmt.Errorf("must be at least 1MiB, not %s", quoted(v))
		}
	default:
		return typeError(want, v)
	}
	*m.p = out
	return nil
}

// unlimited is the word for no limit.
const unlimited = "unlimited"

// memoryUnits are from the largest down, which is how a size is written.
func memoryUnits() []string { return []string{"TiB", "GiB", "MiB", "KiB"} }

func parseMemory(s string) (m Memory, ok bool) {
	if s == unlimited {
		return m, true
	}
	if digits, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseUint(digits, 10, 7)
		return Memory{Percent: int(n)}, err == nil && n >= 1 && n <= 100
	}
	for i, unit := range memoryUnits() {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		shift := 10 * (len(memoryUnits()) - i)
		n, err := strconv.ParseUint(digits, 10, 63-shift)
		return Memory{Bytes: n << shift}, err == nil
	}
	return m, false
}

func (m *memory) toml() string {
	switch {
	case *m.p == Memory{}:
		return quote(unlimited)
	case m.p.Percent > 0:
		return quote(strconv.Itoa(m.p.Percent) + "%")
	}
	for i, unit := range memoryUnits() {
		shift := 10 * (len(memoryUnits()) - i)
		if n := m.p.Bytes >> shift; n > 0 && n<<shift == m.p.Bytes {
			return quote(strconv.FormatUint(n, 10) + unit)
		}
	}
	return strconv.FormatUint(m.p.Bytes, 10)
}
