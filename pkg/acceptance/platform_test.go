// Package acceptance boots whole platforms, each with a state directory and ports of its own, and uses them as a client
// would; some tests also do to them what must not happen.
package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/stretchr/testify/require"

	customers "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
	"github.com/m3o/backend/pkg/platform/state"
)

// services are all of ours.
var services = []string{"customers", "billing", "usage", "signup", "mixpanel"}

// repository is the root of the source, micro the binary that TestMain builds, stripe and mixpanel those that stand in.
var repository, micro, stripe, mixpanel string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "acceptance-*")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears what is left
	if repository, err = filepath.Abs("../.."); err != nil {
		fmt.Println(err)
		return 1
	}
	micro, stripe, mixpanel = filepath.Join(dir, "micro"), filepath.Join(dir, "stripe-mock"), filepath.Join(dir, "sink")
	for _, args := range [][]string{
		{"-o", micro, "./pkg/platform/micro"},
		{"-o", mixpanel, "./pkg/acceptance/sink/run"},
		{"-o", stripe, "-modfile=tools/go.mod", "github.com/stripe/stripe-mock"},
	} {
		build := exec.Command("go", append([]string{"build"}, args...)...)
		build.Dir = repository
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("%s%v\n", out, err)
			return 1
		}
	}
	return m.Run()
}

// platform is a running platform.
type platform struct {
	*client.Client
	port int
	tmp  string   // its temporary directory
	args []string // more of the server's
	cmd  *exec.Cmd
	out  *client.Output
	done chan struct{}
}

// ready is what a server prints when everything answers.
const ready = "Ctrl-C stops it."

// startTimeout is how long a platform may take until it is ready, including a build on a busy machine.
const startTimeout = 5 * time.Minute

// newPlatform returns a platform that does not run yet.
func newPlatform(t *testing.T) *platform {
	t.Helper()
	return newPlatformWith(t, profileEnv(t))
}

// newPlatformWith is newPlatform with this environment.
func newPlatformWith(t *testing.T, env []string) *platform {
	t.Helper()
	tmp := t.TempDir()
	p := &platform{tmp: tmp, Client: &client.Client{
		Micro: micro, State: filepath.Join(t.TempDir(), "state"), Env: append(env, "TMPDIR="+tmp),
	}}
	t.Cleanup(func() {
		if t.Failed() {
			p.logs(t)
		}
		p.killTree()
	})
	return p
}

// boot starts a platform on free ports with these services and waits until they answer.
func boot(t *testing.T, names ...string) *platform {
	t.Helper()
	p := newPlatform(t)
	p.boot(t, names...)
	return p
}

// boot starts it on free ports with these services and waits until they answer.
func (p *platform) boot(t *testing.T, names ...string) {
	t.Helper()
	for range 10 {
		p.port = 20000 + 16*rand.IntN(700)
		if p.start(t, names...) {
			return
		}
		require.Contains(t, p.out.String(), "is taken", "it can only fail because of the ports")
	}
	t.Fatal("no free ports")
}

// start starts the server; false if it has ended before it was ready.
func (p *platform) start(t *testing.T, names ...string) bool {
	t.Helper()
	p.launch(t, names...)
	return p.says(t, ready)
}

// launch starts the server and does not wait for it.
func (p *platform) launch(t *testing.T, names ...string) {
	t.Helper()
	args := append([]string{"server", "--state", p.State, "--port", strconv.Itoa(p.port)}, p.args...)
	for _, name := range names {
		args = append(args, "--run", "./"+name)
	}
	args = append(args, "--stand-in", "stripe="+stripe, "--stand-in", "mixpanel="+mixpanel)
	p.cmd, p.out, p.done = exec.Command(micro, args...), &client.Output{}, make(chan struct{})
	p.cmd.Env = append(os.Environ(), p.Env...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = repository, p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	addresses := state.Addresses{Port: p.port}
	p.API, p.Proxy, p.Sink = "http://"+addresses.Of("api"), addresses.Of("proxy"), "http://"+addresses.StandIn("mixpanel")
	require.NoError(t, p.cmd.Start())
	cmd, done := p.cmd, p.done
	go func() {
		_ = cmd.Wait() // tests look at the exit code where it matters
		close(done)
	}()
}

// says waits until the server has printed a text; false if it has ended before.
func (p *platform) says(t *testing.T, text string) bool {
	t.Helper()
	ended := false
	require.Eventually(t, func() bool {
		select {
		case <-p.done:
			ended = true
		default:
		}
		return ended || strings.Contains(p.out.String(), text)
	}, startTimeout, 10*time.Millisecond, "the platform does not say %q: %s", text, p.out)
	return !ended
}

// stop does what Ctrl-C does and returns the exit code.
func (p *platform) stop(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
	return p.cmd.ProcessState.ExitCode()
}

// process is a running process as ps tells it.
type process struct {
	pid, parent int
	command     string
}

// tree returns the server and everything below it.
func (p *platform) tree() []process {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=,stat=,command=").Output()
	if err != nil {
		panic(err)
	}
	children := make(map[int][]process)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[2], "Z") {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], process{pid, parent, strings.Join(fields[3:], " ")})
	}
	found := []process{{pid: p.cmd.Process.Pid}}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

// binaries returns the processes of services that the runtime runs, by their state directory, whoever their parent is.
func (p *platform) binaries() []process {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=,stat=,command=").Output()
	if err != nil {
		panic(err)
	}
	var found []process
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) >= 4 && !strings.HasPrefix(fields[2], "Z") && strings.HasPrefix(fields[3], filepath.Join(p.State, "services")) {
			pid, _ := strconv.Atoi(fields[0])
			parent, _ := strconv.Atoi(fields[1])
			found = append(found, process{pid, parent, fields[3]})
		}
	}
	return found
}

// core returns the process of a core service.
func (p *platform) core(t *testing.T, name string) int {
	t.Helper()
	for _, c := range p.tree() {
		if strings.HasSuffix(c.command, " service "+name) {
			return c.pid
		}
	}
	t.Fatalf("%s does not run", name)
	return 0
}

// standIn returns the process of a program that stands in for a service of others.
func (p *platform) standIn(t *testing.T, program string) int {
	t.Helper()
	found := 0
	require.Eventually(t, func() bool {
		for _, c := range p.tree() {
			if strings.HasPrefix(c.command, program+" ") {
				found = c.pid
			}
		}
		return found != 0
	}, recovery, rate, "%s does not run", program)
	return found
}

// killTree ends the platform the hard way: every process at once, as a power cut would.
func (p *platform) killTree() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	for _, c := range p.tree() {
		_ = syscall.Kill(c.pid, syscall.SIGKILL) // it may have ended with its parent
	}
	<-p.done
}

// logs shows the end of every log.
func (p *platform) logs(t *testing.T) {
	t.Helper()
	if p.out != nil {
		t.Logf("server:\n%s", p.out)
	}
	files, _ := filepath.Glob(filepath.Join(p.State, "logs", "*.log"))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		t.Logf("%s:\n%s", filepath.Base(file), b[max(0, len(b)-1500):])
	}
}

// as returns a client with a token of the account.
func (p *platform) as(t *testing.T, account *auth.Account) *client.Client {
	t.Helper()
	token, err := p.Issue(account)
	require.NoError(t, err)
	return p.As(token)
}

// admin returns a client for RPCs of an operator.
func (p *platform) admin(t *testing.T) *client.RPC {
	t.Helper()
	return p.RPC(p.as(t, client.Admin).Token)
}

// customer makes a customer and returns their id.
func (p *platform) customer(t *testing.T, email string) string {
	t.Helper()
	rsp, err := customers.NewCustomersService("customers", p.admin(t)).Create(t.Context(), &customers.CreateRequest{Email: email})
	require.NoError(t, err)
	return rsp.Customer.Id
}

// answers waits until a call is answered with 200 again.
func answers(t *testing.T, p *client.Client, path, body string, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last string
	for ctx.Err() == nil {
		a, err := p.Post(ctx, path, body)
		if err == nil && a.Code == 200 {
			return
		}
		last = fmt.Sprint(a.Code, string(a.Body), err)
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the wait between two tries
	}
	t.Fatalf("%s does not answer within %s: %s", path, within, last)
}
