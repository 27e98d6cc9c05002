// Package controller decides changes of the cluster metadata as the active controller of Kafka 4.3 does, for a cluster of one
// node: which requests are allowed, which records they make, and what is answered. Every operation is decided on the image that
// all earlier ones have made, appended and synced by package quorum, applied, published to the listeners of OnImage, and only then
// answered. Operations that arrive while an append is under way share the next one.
//
// It never touches files, connections or the partitions themselves; what a broker does about a change, it does in OnImage.
//
// Validation follows ReplicationControlManager, ConfigurationControlManager, FeatureControlManager, ClientQuotaControlManager and
// ProducerIdControlManager of Kafka 4.3, and the checks that ControllerApis and ConfigAdminManager make before them. Authorization
// and quotas are the caller's.
package controller
