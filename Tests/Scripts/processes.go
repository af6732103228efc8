// Processes and signals as Go makes them: os/exec, signal.Notify, groups, goroutines on threads of their own.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(condition bool, what ...any) {
	if !condition {
		_, _, line, _ := runtime.Caller(1)
		fmt.Fprintln(os.Stderr, append([]any{"line", line}, what...)...)
		os.Exit(1)
	}
}

func endedBy(err error, signal syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status := exit.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == signal
}

// Counts SIGTERMs until the second one, says who it is first.
func child() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println(os.Getpid(), os.Getppid(), syscall.Getpgrp())
	for count := 0; ; {
		switch <-signals {
		case syscall.SIGTERM:
			count++
			fmt.Println("term", count)
			if count == 2 {
				os.Exit(9)
			}
		case syscall.SIGHUP:
			fmt.Println("hup")
		}
	}
}

func main() {
	if len(os.Args) > 1 {
		child()
	}
	me := os.Getpid()

	out, err := exec.Command("sh", "-c", "echo $PPID").Output()
	check(err == nil && strings.TrimSpace(string(out)) == fmt.Sprint(me), out, err)

	// A program of one's own, in a group of its own.
	self := exec.Command("/proc/self/exe", "child")
	self.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := self.StdoutPipe()
	check(err == nil, err)
	check(self.Start() == nil)
	lines := bufio.NewScanner(pipe)
	next := func() string {
		check(lines.Scan(), "the child is silent")
		return lines.Text()
	}
	pid := self.Process.Pid
	check(next() == fmt.Sprint(pid, me, pid))
	group, err := syscall.Getpgid(pid)
	check(group == pid && err == nil, group, err)
	check(self.Process.Signal(syscall.SIGTERM) == nil)
	check(next() == "term 1")
	check(syscall.Kill(-pid, syscall.SIGHUP) == nil)
	check(next() == "hup")
	check(syscall.Kill(pid, syscall.SIGTERM) == nil)
	check(next() == "term 2")
	err = self.Wait()
	check(err != nil && self.ProcessState.ExitCode() == 9, err)
	check(errors.Is(self.Process.Signal(syscall.SIGTERM), os.ErrProcessDone))
	check(syscall.Kill(pid, 0) == syscall.ESRCH)

	// A group of two, killed as one; a session; a limit of time; the parent's death.
	shell := exec.Command("sh", "-c", "sleep 60 & echo $!; wait")
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, _ = shell.StdoutPipe()
	check(shell.Start() == nil)
	var grandchild int
	fmt.Fscan(pipe, &grandchild)
	group, err = syscall.Getpgid(grandchild)
	check(group == shell.Process.Pid && err == nil, group, err)
	check(syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) == nil)
	check(endedBy(shell.Wait(), syscall.SIGKILL))
	session := exec.Command("python3", "-c", "import os; assert os.getsid(0) == os.getpid()")
	session.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	check(session.Run() == nil)
	runtime.UnlockOSThread()
	limit, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	check(endedBy(exec.CommandContext(limit, "sleep", "60").Run(), syscall.SIGKILL))
	cancel()

	// Many at once, from threads of their own.
	var all sync.WaitGroup
	for i := 0; i < 16; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			runtime.LockOSThread()
			tid := syscall.Gettid()
			check(syscall.Tgkill(me, tid, 0) == nil)
			err := exec.Command("sh", "-c", fmt.Sprint("exit ", i)).Run()
			var exit *exec.ExitError
			check(i == 0 && err == nil || errors.As(err, &exit) && exit.ExitCode() == i, i, err)
		}(i)
	}
	all.Wait()

	// The runtime preempts goroutines that never call: by tgkill of its own threads.
	runtime.GOMAXPROCS(2)
	var stop int32
	for i := 0; i < 3; i++ {
		go func() {
			for atomic.LoadInt32(&stop) == 0 {
			}
		}()
	}
	runtime.GC()
	atomic.StoreInt32(&stop, 1)

	// Signals to itself, ignored ones, and ones that are no longer wanted.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1)
	for i := 0; i < 20; i++ {
		check(syscall.Kill(me, syscall.SIGUSR1) == nil)
		check(<-signals == syscall.SIGUSR1)
	}
	signal.Reset(syscall.SIGUSR1)
	signal.Ignore(syscall.SIGUSR2)
	check(syscall.Kill(me, syscall.SIGUSR2) == nil)
	check(len(signals) == 0)
}
