// Package systemd is how the daemon and the service manager talk: the sockets that it hands over
// (sd_listen_fds(3)), what it is told (sd_notify(3)), its watchdog (sd_watchdog_enabled(3)), and the
// journal with its fields.
//
// It is the only importer of go-systemd. Without a service manager its calls do nothing. It decides
// nothing and imports nothing of ours.
package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Managed reports whether a service manager listens.
func Managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Ready says that connections are accepted.
func Ready() { notify(daemon.SdNotifyReady) }

// Stopping says that the daemon drains.
func Stopping() { notify(daemon.SdNotifyStopping) }

// Reloading says that the configuration is being read again, which ends with Ready. Type=notify-reload
// wants the time of it, too, by the monotonic clock.
func Reloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// Status sets the line that systemctl status shows.
func Status(line string) { notify("STATUS=" + strings.ReplaceAll(line, "\n", " ")) }

// Extend asks for this much time from now on, beyond the time limit of the start or stop under way.
func Extend(d time.Duration) { notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())) }

// Watchdog is how long the service manager waits between two calls of Alive before it ends the daemon;
// 0 means that it does not.
func Watchdog() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

// Alive keeps the watchdog from ending the daemon.
func Alive() { notify(daemon.SdNotifyWatchdog) }

// Credential is the path of a credential that the service manager has passed on (LoadCredential= of
// systemd.exec(5)); empty if there is none of this name.
func Credential(name string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return ""
	}
	return path
}

// notify ignores failures: that nobody listens is no reason to stop serving.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
