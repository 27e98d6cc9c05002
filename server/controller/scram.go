package controller

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/gregor-broker/gregor/server/meta"
)

// Bounds of a SCRAM credential's iterations (ScramMechanism.minIterations, ScramControlManager.MAX_ITERATIONS).
const (
	minScramIterations = 4096
	maxScramIterations = 16384

	scramVersion int16 = 11 // 3.5-IV2
)

// ScramDeletion names a credential to delete.
type ScramDeletion struct {
	User      string
	Mechanism int8
}

// ScramUpsertion is a credential to set; the client has salted the password already.
type ScramUpsertion struct {
	User                 string
	Mechanism            int8
	Iterations           int32
	Salt, SaltedPassword []byte
}

// ScramResult is the answer for one user.
type ScramResult struct {
	User string
	Err  *Error // nil: done
}

// AlterScramCredentials deletes and sets SCRAM credentials (KIP-554). Each user is answered once and may be named once: what is
// done is answered first, deletions before upsertions, and then what is refused.
func (k *Controller) AlterScramCredentials(deletions []ScramDeletion, upsertions []ScramUpsertion) ([]ScramResult, error) {
	var results []ScramResult
	err := k.Change(func(im *meta.Image) ([]meta.Record, error) {
		c := scramChange{im: im, state: map[string]int8{}}
		for i := range deletions {
			d := &deletions[i]
			c.add(d.User, c.checkDeletion(d), &meta.RemoveUserScramCredentialRecord{Name: d.User, Mechanism: d.Mechanism})
		}
		for i := range upsertions {
			u := &upsertions[i]
			c.add(u.User, c.checkUpsertion(u), scramRecord(u))
		}
		var records []meta.Record
		results, records = c.outcome()
		return records, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// scramChange gathers what becomes of each user.
type scramChange struct {
	im      *meta.Image
	state   map[string]int8 // 1: to be done, 2: refused
	done    []scramStep
	refused []ScramResult
}

type scramStep struct {
	user   string
	record meta.Record
}

func (c *scramChange) add(user string, e *Error, record meta.Record) {
	switch {
	case c.state[user] == 2:
		return
	case c.state[user] == 1:
		e = &Error{CodeDuplicateResource, "A user credential cannot be altered twice in the same request"}
	case e == nil:
		c.state[user] = 1
		c.done = append(c.done, scramStep{user, record})
		return
	}
	c.state[user] = 2
	c.refused = append(c.refused, ScramResult{user, e})
}

func (c *scramChange) outcome() (results []ScramResult, records []meta.Record) {
	for _, step := range c.done {
		if c.state[step.user] == 1 {
			results = append(results, ScramResult{User: step.user})
			records = append(records, step.record)
		}
	}
	return append(results, c.refused...), records
}

func (c *scramChange) check(user string, mechanism int8) *Error {
	switch {
	case c.im.MetadataVersion() < scramVersion:
		return &Error{CodeUnsupportedVersion, "The current metadata.version does not support SCRAM"}
	case user == "":
		return &Error{CodeUnacceptableCredential, "Username must not be empty"}
	case mechanism != meta.ScramSHA256 && mechanism != meta.ScramSHA512:
		return &Error{CodeUnsupportedSaslMechanism, "Unknown SCRAM mechanism"}
	}
	return nil
}

func (c *scramChange) checkDeletion(d *ScramDeletion) *Error {
	if e := c.check(d.User, d.Mechanism); e != nil {
		return e
	}
	if c.im.ScramCredential(d.Mechanism, d.User) == nil {
		return &Error{CodeResourceNotFound, "Attempt to delete a user credential that does not exist"}
	}
	return nil
}

func (c *scramChange) checkUpsertion(u *ScramUpsertion) *Error {
	if e := c.check(u.User, u.Mechanism); e != nil {
		return e
	}
	switch {
	case u.Iterations < minScramIterations:
		return &Error{CodeUnacceptableCredential, "Too few iterations"}
	case u.Iterations > maxScramIterations:
		return &Error{CodeUnacceptableCredential, "Too many iterations"}
	}
	return nil
}

// scramRecord derives the keys that a server keeps from the salted password (RFC 5802, section 3).
func scramRecord(u *ScramUpsertion) *meta.UserScramCredentialRecord {
	hashed := sha256.New
	if u.Mechanism == meta.ScramSHA512 {
		hashed = sha512.New
	}
	stored := hashed()
	stored.Write(authenticated(hashed, u.SaltedPassword, "Client Key"))
	return &meta.UserScramCredentialRecord{
		Name: u.User, Mechanism: u.Mechanism, Salt: u.Salt, Iterations: u.Iterations,
		StoredKey: stored.Sum(nil), ServerKey: authenticated(hashed, u.SaltedPassword, "Server Key"),
	}
}

func authenticated(hashed func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(hashed, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
