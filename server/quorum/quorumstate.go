package quorum

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// quorumState is the file quorum-state (QuorumStateData): version 0 belongs to static voters, version 1 to kraft.version 1.
type quorumState struct {
	version        int16
	leaderID       int32 // -1: none
	leaderEpoch    int32
	votedID        int32 // -1: none
	votedDirectory meta.UUID
	voters         []int32 // version 0 only
}

type quorumStateJSON struct {
	DataVersion    *int16 `json:"data_version"`
	LeaderID       *int32 `json:"leaderId"`
	LeaderEpoch    *int32 `json:"leaderEpoch"`
	VotedID        *int32 `json:"votedId"`
	VotedDirectory string `json:"votedDirectoryId"`
	CurrentVoters  []struct {
		VoterID *int32 `json:"voterId"`
	} `json:"currentVoters"`
}

// parseQuorumState reads the file as FileQuorumStateStore does.
func parseQuorumState(data []byte) (*quorumState, error) {
	var j quorumStateJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("expected one JSON object: %w", err)
	}
	if j.DataVersion == nil || *j.DataVersion < 0 || *j.DataVersion > 1 {
		return nil, errors.New("data_version: expected 0 or 1")
	}
	if j.LeaderEpoch == nil || *j.LeaderEpoch < 0 || *j.LeaderEpoch == math.MaxInt32 {
		return nil, errors.New("leaderEpoch: expected a number from 0")
	}
	s := &quorumState{version: *j.DataVersion, leaderID: -1, leaderEpoch: *j.LeaderEpoch, votedID: -1}
	if j.LeaderID != nil {
		s.leaderID = *j.LeaderID
	}
	if j.VotedID != nil {
		s.votedID = *j.VotedID
	}
	if s.version == 1 && j.VotedDirectory != "" {
		var err error
		if s.votedDirectory, err = meta.ParseUUID(j.VotedDirectory); err != nil {
			return nil, fmt.Errorf("votedDirectoryId: %w", err)
		}
	}
	for _, v := range j.CurrentVoters {
		if v.VoterID == nil {
			return nil, errors.New("currentVoters: expected a voterId in each")
		}
		s.voters = append(s.voters, *v.VoterID)
	}
	return s, nil
}

// encode writes the bytes Kafka writes, with its order of fields and without a newline.
func (s *quorumState) encode() []byte {
	if s.version == 0 {
		voters := "["
		for i, id := range s.voters {
			if i > 0 {
				voters += ","
			}
			voters += fmt.Sprintf(`{"voterId":%d}`, id)
		}
		return fmt.Appendf(nil, `{"clusterId":"","leaderId":%d,"leaderEpoch":%d,"votedId":%d,"appliedOffset":0,"currentVoters":%s],"data_version":0}`,
			s.leaderID, s.leaderEpoch, s.votedID, voters)
	}
	return fmt.Appendf(nil, `{"leaderId":%d,"leaderEpoch":%d,"votedId":%d,"votedDirectoryId":"%s","data_version":1}`,
		s.leaderID, s.leaderEpoch, s.votedID, s.votedDirectory)
}

// readQuorumState returns nil without error where there is no such file.
func readQuorumState(f vfs.FS, logPath string) (*quorumState, error) {
	name := filepath.Join(logPath, quorumStateFile)
	data, err := vfs.ReadFile(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &RefusedError{Reason: ErrCorrupt, File: name, Found: "it cannot be read", Cause: err}
	}
	s, err := parseQuorumState(data)
	if err != nil {
		return nil, refuse(ErrCorrupt, name, "restore it, or remove it: the epoch is in the log as well", "%v", err)
	}
	return s, nil
}
