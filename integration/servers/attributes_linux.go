package servers

import "syscall"

// attributes have the kernel end the server with the test, also with one that
// panics or runs out of time and so cleans up nothing.
func attributes(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL}
}
