//go:build linux || darwin

package ttymode

import (
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/proto"
)

// TestThereAndBack: what one terminal has, another one gets.
func TestThereAndBack(t *testing.T) {
	for _, all := range []word{0, ^word(0)} {
		want := &unix.Termios{Iflag: all, Oflag: all, Lflag: all}
		for i := range want.Cc {
			want.Cc[i] = uint8(i + 1)
		}
		want.Cc[unix.VSUSP] = disabled
		modes := Of(want)
		if !slices.IsSortedFunc(modes, func(a, b proto.Mode) int { return int(a.Opcode) - int(b.Opcode) }) {
			t.Errorf("not in order: %v", modes)
		}
		got := &unix.Termios{Iflag: ^all, Oflag: ^all, Lflag: ^all}
		Set(got, modes)
		if again := Of(got); !reflect.DeepEqual(again, modes) {
			t.Errorf("%v, want %v", again, modes)
		}
	}
}

// TestNumbers are those of RFC 4254 section 8 and RFC 8160.
func TestNumbers(t *testing.T) {
	var m unix.Termios
	Set(&m, []proto.Mode{{Opcode: 1, Value: 3}, {Opcode: 10, Value: 255}, {Opcode: 36, Value: 1}, {Opcode: 42, Value: 1},
		{Opcode: 51, Value: 1}, {Opcode: 53, Value: 7}, {Opcode: 72, Value: 1}, {Opcode: 128, Value: 38400}, {Opcode: 159, Value: 1}})
	if m.Cc[unix.VINTR] != 3 || m.Cc[unix.VSUSP] != disabled || m.Iflag != unix.ICRNL|unix.IUTF8 ||
		m.Lflag != unix.ICANON|unix.ECHO || m.Oflag != unix.ONLCR {
		t.Errorf("%+v", m)
	}
	Set(&m, []proto.Mode{{Opcode: 53}})
	if m.Lflag != unix.ICANON {
		t.Errorf("echo is still on: %+v", m)
	}
}
