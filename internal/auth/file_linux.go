package auth

import "syscall"

// changeTime is when the file's content or permissions last changed, which nobody can set back.
func changeTime(st *syscall.Stat_t) (seconds, nanos int64) {
	return int64(st.Ctim.Sec), int64(st.Ctim.Nsec)
}
