package group

// Kafka's error codes that this package answers with (org.apache.kafka.common.protocol.Errors).
const (
	codeNone                      int16 = 0
	codeUnknownServerError        int16 = -1
	codeUnknownTopicOrPartition   int16 = 3
	codeOffsetMetadataTooLarge    int16 = 12
	codeCoordinatorNotAvailable   int16 = 15
	codeIllegalGeneration         int16 = 22
	codeInconsistentGroupProtocol int16 = 23
	codeInvalidGroupID            int16 = 24
	codeUnknownMemberID           int16 = 25
	codeInvalidSessionTimeout     int16 = 26
	codeRebalanceInProgress       int16 = 27
	codeUnsupportedVersion        int16 = 35
	codeInvalidRequest            int16 = 42
	codeNonEmptyGroup             int16 = 68
	codeGroupIDNotFound           int16 = 69
	codeMemberIDRequired          int16 = 79
	codeGroupMaxSizeReached       int16 = 81
	codeFencedInstanceID          int16 = 82
	codeGroupSubscribedToTopic    int16 = 86
	codeUnstableOffsetCommit      int16 = 88
	codeFencedMemberEpoch         int16 = 110
	codeUnreleasedInstanceID      int16 = 111
	codeUnsupportedAssignor       int16 = 112
	codeStaleMemberEpoch          int16 = 113
	codeInvalidRegularExpression  int16 = 128
)
