//go:build linux

// Package runner is the privileged half of the daemon in one process: it verifies proofs with the
// keys it holds, applies each key's policy, and starts commands as the account that the key names.
//
// It owns the way from a request to a command line and an environment. It never reads a byte of a
// client's or a command's: it is handed parsed values and hands over open files. It must not import
// server, transport or config.
package runner

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// Options are what the configuration says of commands.
type Options struct {
	Path        string            // PATH of every command
	Lang        string            // LANG, unless the client sets it
	Env         map[string]string // further variables
	Charset     charset.Mode      // what commands print, unless the key says otherwise
	AcceptEnv   []string          // names that clients may set; a trailing * matches any rest
	Umask       int
	Limits      []exec.Limit
	OOMScoreAdj int
	// MaxProcesses and MaxMemory, in bytes, are for one command; 0: no limit. They need cgroups.
	MaxProcesses int
	MaxMemory    uint64
	// Banner is what the first line of a prompt brings for its user; empty: nothing.
	Banner string
	// SFTP is the program, with its arguments, that is the subsystem of this name; empty: there is none.
	SFTP []string
	// Complete is the same for the subsystem of this name; the account's shell follows as a last argument.
	Complete []string
	// VouchFor is the key that peers without a proof act as; empty: there are no such peers.
	VouchFor string
	// Accounts is who looks accounts up; nil: the system's.
	Accounts Accounts
}

// Accounts looks up whom commands run as, as [exec.Accounts] does.
type Accounts interface {
	Lookup(ctx context.Context, name string) (exec.Account, error)
	Self(ctx context.Context) (exec.Account, error)
}

// Runner implements the Privileged interfaces of the packages server and classic.
type Runner struct {
	verifier *auth.Verifier
	store    *auth.Store
	launcher *exec.Launcher
	accounts *exec.Accounts
	options  atomic.Pointer[Options]
	// keyError is told of a key file that cannot be used; the old keys go on. See also ErrNoKeys.
	keyError func(error)
}

// New returns a runner for the keys of a store. keyError must not block.
func New(v *auth.Verifier, store *auth.Store, l *exec.Launcher, o Options, keyError func(error)) *Runner {
	r := &Runner{verifier: v, store: store, launcher: l, accounts: exec.NewAccounts(), keyError: keyError}
	r.options.Store(&o)
	return r
}

// Configure changes the options for commands started from now on.
func (r *Runner) Configure(o Options) { r.options.Store(&o) }

// Verify checks a proof against the key file as it is now.
func (r *Runner) Verify(a auth.Attempt) auth.Verdict {
	r.refresh()
	return r.verifier.Verify(a)
}

// Vouch grants the use of the key that the configuration names to a peer at this address, who proved
// none. The caller has no choice of the key.
func (r *Runner) Vouch(remote netip.Addr) (*auth.Grant, error) {
	id := r.options.Load().VouchFor
	if id == "" {
		return nil, errors.New("no key is configured for peers without a proof")
	}
	r.refresh()
	return r.verifier.Vouch(id, remote)
}

// ErrNoKeys is told to who is told of key files if the last key is gone, with the file or out of it.
var ErrNoKeys = errors.New("there are no keys any more, so everybody is refused and what ran under them is ended")

func (r *Runner) refresh() {
	changed, err := r.store.Refresh()
	if err == nil && changed && len(r.store.Keys()) == 0 {
		err = ErrNoKeys
	}
	if err != nil {
		r.keyError(err)
	}
}

// Authorize checks that a grant is still good for a peer at this address.
func (r *Runner) Authorize(g *auth.Grant, remote netip.Addr) error {
	r.refresh()
	_, err := r.verifier.Authorize(g, remote)
	return err
}

// accountTimeout bounds a directory service that does not answer.
const accountTimeout = 5 * time.Second

// Start starts what a valid request asks for as far as the key's policy lets it.
func (r *Runner) Start(ctx context.Context, g *auth.Grant, peer job.Peer, m *proto.Run) (*job.Process, error) {
	key, err := r.verifier.Use(g, peer.Remote.Addr())
	if err != nil {
		return nil, &job.RefusedError{Cause: proto.CausePolicy, Reason: err.Error()}
	}
	account, err := r.account(ctx, key, m.User)
	if err != nil {
		return nil, r.placed(key, err)
	}
	c, err := decide(key, r.options.Load(), m)
	if err != nil {
		return nil, r.placed(key, err)
	}
	return r.launch(account, key, c, peer, m)
}

// placed adds the line of the key that a refusal follows from, for the operator.
func (r *Runner) placed(key auth.Key, err error) error {
	var refused *job.RefusedError
	if errors.As(err, &refused) && refused.Cause != proto.CauseInternal {
		refused.Where = r.store.Where(key)
	}
	return err
}

// launch starts a command that may run.
func (r *Runner) launch(account exec.Account, key auth.Key, c command, peer job.Peer, m *proto.Run) (*job.Process, error) {
	o := r.options.Load()
	env, err := environment(o, account, c, peer, m)
	if err != nil {
		return nil, err
	}
	spec := c.spec(account, o)
	spec.Marker = marker()
	spec.Env = append(env, spec.Marker)
	spec.Dir = workingDir(m, account)
	if m.Lasting {
		last(spec, m)
	}
	spec.Stdin = !m.NoStdin
	if len(m.Pty) > 0 {
		spec.Terminal = terminal(m, !gbLocale(env))
	}
	spec.Umask, spec.OOMScoreAdj = o.Umask, &o.OOMScoreAdj
	spec.MaxProcesses, spec.MaxMemory = o.MaxProcesses, o.MaxMemory
	if spec.Limits, err = tightened(o.Limits, key.Limits); err != nil {
		return nil, startError(m, account, err)
	}
	p, err := r.launcher.Start(spec)
	if err != nil {
		return nil, startError(m, account, err)
	}
	started := &job.Process{
		PID: p.PID, Account: account.Name, Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Handle: handle{p},
		Charset: printed(key, o), GBLocale: gbLocale(env), Report: reportOf(p, m),
	}
	if m.Lasting && len(m.State) == 0 { // the first line of a prompt
		started.Banner = o.Banner
	}
	if spec.Terminal != nil {
		started.Terminal = screen{p}
	}
	return started, nil
}

// account resolves the account of a key anew for every command. Only what the key file names counts;
// what the client expects is compared with it.
func (r *Runner) account(ctx context.Context, key auth.Key, wanted string) (exec.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	accounts := r.options.Load().Accounts
	if accounts == nil {
		accounts = r.accounts
	}
	var a exec.Account
	var err error
	if key.RunAs == "" {
		a, err = accounts.Self(ctx)
	} else {
		a, err = accounts.Lookup(ctx, key.RunAs)
	}
	if err != nil {
		if noFiles(err) {
			return a, errNoFiles()
		}
		return a, &job.RefusedError{Cause: proto.CauseAccount, Reason: err.Error()}
	}
	if wanted != "" && wanted != a.Name {
		return a, &job.RefusedError{
			Cause: proto.CausePolicy, Reason: "key " + key.ID + " runs commands as " + a.Name + ", not as the user asked for",
		}
	}
	return a, nil
}

// startError keeps what the client may see: the reasons that package exec words for it.
func startError(m *proto.Run, a exec.Account, err error) error {
	if noFiles(err) {
		return errNoFiles()
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) { // clone(2), and execve(2) for a limit of the account
		return &job.RefusedError{
			Cause: proto.CauseInternal, Reason: "the server has too many processes or too little memory, so nothing was started; try again later",
		}
	}
	var start *exec.StartError
	if errors.As(err, &start) {
		switch {
		case !start.Directory:
			return start
		case len(m.State) > 0:
			// Not run in another place: the line may be the removal of everything in the one that is gone.
			home := homeOf(a)
			if home == stateDir(m.State) {
				home = "/"
			}
			return &job.RefusedError{
				Cause: proto.CauseDirectory, State: elsewhere(m.State, home),
				Reason: start.Reason + ", so this was not run; the next line will be in " + home,
			}
		case len(m.Dir) > 0:
			return &job.RefusedError{Cause: proto.CauseDirectory, Reason: start.Reason}
		}
		return start
	}
	return &job.RefusedError{Cause: proto.CauseInternal, Reason: "the server cannot start commands now"}
}

// noFiles reports whether the limit on open files was reached, of this process or of the machine.
func noFiles(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

func errNoFiles() error {
	return &job.RefusedError{
		Cause: proto.CauseInternal, Reason: "the server has too many files open, so nothing was started; try again later",
	}
}

// workingDir is where the command runs. An account without a home starts at the root, as with sshd;
// a directory that was asked for is entered or the command does not run.
func workingDir(m *proto.Run, a exec.Account) string {
	switch {
	case len(m.Dir) > 0:
		return string(m.Dir)
	case len(m.State) > 0:
		return stateDir(m.State)
	}
	return homeOf(a)
}

func homeOf(a exec.Account) string {
	if _, err := os.Stat(a.Home); err != nil {
		return "/"
	}
	return a.Home
}

// handle adapts a process to what a job knows of it.
type handle struct{ p *exec.Process }

func (h handle) Wait() exec.Status              { return h.p.Wait() }
func (h handle) Stop(grace time.Duration) []int { return h.p.Stop(grace) }

func (h handle) Signal(name string) error {
	sig, err := exec.ParseSignal(name)
	if err != nil {
		return err
	}
	if err := h.p.Signal(sig); err != nil && !errors.Is(err, exec.ErrEnded) {
		return err
	}
	return nil
}
