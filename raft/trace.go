// Trace: names that programs may mention; there is no tracing here.

package raft

// StateTraceDeployed says whether the library traces its state changes: never.
const StateTraceDeployed = false

// TraceLogger is the type of Config.TraceLogger, which has no effect.
type TraceLogger any

// TracingEvent is what a TraceLogger would receive.
type TracingEvent struct{}
