// RawNode beside RawNode: random scripts in two worlds, one of our nodes and one of
// theirs, with all options drawn at random. Everything that a program could see is
// compared after every step: each Ready in full, errors, panics, Status.

package interop

import "testing"

func allOurs(uint64) engine   { return ours{} }
func allTheirs(uint64) engine { return etcd{} }

// A node that talks to nobody, or to forged messages only, does what etcd's does.
func TestOneNodeDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 300, 20_000, func(seed uint64) {
		rnd := newRand(seed)
		p := drawPlan(rnd, 1)
		mustAgree(t, seed, p, calm.draw(rnd, 150, 1), allOurs, allTheirs)
	})
}

// A cluster does step by step what one of etcd's does.
func TestClusterDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 150, 10_000, func(seed uint64) {
		rnd := newRand(seed)
		members := 2 + rnd.IntN(4)
		p := drawPlan(rnd, members)
		mustAgree(t, seed, p, calm.draw(rnd, 600, members), allOurs, allTheirs)
	})
}

// So it does when messages come that nobody sent, or not so.
func TestClusterAmongForgersDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 150, 10_000, func(seed uint64) {
		rnd := newRand(seed)
		members := 1 + rnd.IntN(4)
		p := drawPlan(rnd, members)
		mustAgree(t, seed, p, hostile.draw(rnd, 300, members), allOurs, allTheirs)
	})
}

// So it does when leaders come and go, and logs part and are put right.
func TestQuarrellingClusterDoesWhatEtcdsDoes(t *testing.T) {
	seeds(t, 100, 10_000, func(seed uint64) {
		rnd := newRand(seed)
		members := 2 + rnd.IntN(4)
		p := drawPlan(rnd, members)
		mustAgree(t, seed, p, quarrelsome.draw(rnd, 800, members), allOurs, allTheirs)
	})
}

// Reads that come before the first commit of a term are answered alike, as long as
// their leader leads.
func TestPostponedReadsAreWhatEtcdsAre(t *testing.T) {
	quiet := calm
	for _, k := range []kind{opTick, opTickMany, opTickQuiesced, opCampaign, opTransfer, opRestart, opForgetLeader} {
		quiet[k] = 0
	}
	quiet[opReadIndex] = 30
	seeds(t, 100, 10_000, func(seed uint64) {
		rnd := newRand(seed)
		members := 1 + rnd.IntN(4)
		p := drawPlan(rnd, members)
		p.postpones, p.bootstrap = true, false
		script := append([]op{{kind: opCampaign}}, quiet.draw(rnd, 200, members)...)
		mustAgree(t, seed, p, script, allOurs, allTheirs)
	})
}
