package kaniko

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	fscopy "github.com/tonistiigi/fsutil/copy"
)

// The files by which the image being built knows its users.
const (
	passwd = "/etc/passwd"
	groups = "/etc/group"
)

// ownerOf reads the value of --chown, or a USER whose folder is made. As with BuildKit, a user by number is in the group of
// that number, and a name that the image does not know is root's.
func ownerOf(owner string) (fscopy.Chowner, error) { return ownerIn("/", owner) }

// ownerIn is ownerOf with the users of another root.
func ownerIn(root, owner string) (fscopy.Chowner, error) {
	name, group, hasGroup := strings.Cut(owner, ":")
	var of fscopy.User
	if id, ok := number(name); ok {
		of.UID, of.GID = id, id
	} else if found, err := user.ParsePasswdFileFilter(filepath.Join(root, passwd), func(u user.User) bool { return u.Name == name }); err != nil && !os.IsNotExist(err) {
		return nil, err
	} else if len(found) > 0 {
		of.UID, of.GID = found[0].Uid, found[0].Gid
	}
	if id, ok := number(group); ok && hasGroup {
		of.GID = id
	} else if hasGroup {
		found, err := user.ParseGroupFileFilter(filepath.Join(root, groups), func(g user.Group) bool { return g.Name == group })
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		if len(found) > 0 {
			of.GID = found[0].Gid
		}
	}
	return fixed(of), nil
}

func fixed(owner fscopy.User) fscopy.Chowner {
	return func(*fscopy.User) (*fscopy.User, error) { return &owner, nil }
}

func number(text string) (int, bool) {
	if text == "root" {
		return 0, true
	}
	id, err := strconv.ParseInt(text, 10, 32)
	return int(id), err == nil
}

// identity is who a RUN runs as, and where that user lives.
func identity(of string) (credential *syscall.Credential, home string, err error) {
	found, err := user.GetExecUserPath(of, &user.ExecUser{Home: "/"}, passwd, groups)
	if err != nil {
		return nil, "", err
	}
	credential = &syscall.Credential{
		Uid: uint32(found.Uid), Gid: uint32(found.Gid), Groups: []uint32{uint32(found.Gid)}, //nolint:gosec // not negative
	}
	// In the user namespace of an ordinary user nobody's groups can be set (user_namespaces(7)).
	if setting, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(setting)) == "deny" {
		credential.NoSetGroups = true
	}
	for _, group := range found.Sgids {
		credential.Groups = append(credential.Groups, uint32(group)) //nolint:gosec // not negative
	}
	return credential, found.Home, nil
}
