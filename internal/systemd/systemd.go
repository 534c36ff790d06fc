// Package systemd tells the service manager how the daemon is doing (sd_notify(3)).
//
// It is the only importer of go-systemd. Without a service manager its calls do nothing. It imports
// nothing of ours.
package systemd

import "github.com/coreos/go-systemd/v22/daemon"

// Ready says that connections are accepted.
func Ready() { notify(daemon.SdNotifyReady) }

// Stopping says that the daemon drains.
func Stopping() { notify(daemon.SdNotifyStopping) }

// Reloading says that the configuration is being read again, which ends with Ready. Type=notify-reload
// wants the time of it, too, by the monotonic clock.
func Reloading() { notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()) }

// notify ignores failures: that nobody listens is no reason to stop serving.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
