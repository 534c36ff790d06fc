package proto

// Caller is who asks for an execution, and how often it has done so. A request that the network delivers late does not
// take the execution from a later one of the same call. A call that was taken over by another one, and comes back
// because it did not hear of it, is told so while the other one is attached.
type Caller struct {
	Call    uint64 // random, the same in all requests of one call; not 0
	Attempt uint64 // larger in each further one
}

func (w *fieldWriter) caller(tag uint16, v Caller) {
	if v != (Caller{}) {
		w.bytes(tag, appendU64(appendU64(nil, v.Call), v.Attempt))
	}
}

func (f Field) caller() (v Caller, err error) {
	c := cursor{b: f.Value}
	if v = (Caller{c.u64(), c.u64()}); c.short || len(c.b) > 0 {
		return v, malformed("field 0x%04x has %d bytes, want 16", f.Tag, len(f.Value))
	}
	if v.Call == 0 {
		err = malformed("field 0x%04x names no call", f.Tag)
	}
	return v, err
}
