// The picture of acknowledgements.

package quorum

import "testing"

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config interface{ Describe(AckedIndexer) string }
		acks   acks
		want   string
	}{
		{"nobody", MajorityConfig{}, nil, "<empty majority quorum>"},
		{"nobody, jointly", JointConfig{}, nil, "<empty majority quorum>"},
		{
			"the further, the longer the bar", majority(1, 2, 3), acks{1: 102, 2: 103, 3: 101}, "" +
				"       idx\n" +
				"x>     102    (id=1)\n" +
				"xx>    103    (id=2)\n" +
				">      101    (id=3)\n",
		},
		{
			"one not heard of", majority(1, 2, 3), acks{1: 5, 3: 4}, "" +
				"       idx\n" +
				"xx>      5    (id=1)\n" +
				"?        0    (id=2)\n" +
				"x>       4    (id=3)\n",
		},
		{
			"the second of equals has no bar", majority(1, 2, 3), acks{1: 4, 2: 6, 3: 6}, "" +
				"       idx\n" +
				">        4    (id=1)\n" +
				"x>       6    (id=2)\n" +
				">        6    (id=3)\n",
		},
		{
			"both halves together", JointConfig{majority(1, 2), majority(2, 3)}, acks{1: 1, 2: 2, 3: 3}, "" +
				"       idx\n" +
				">        1    (id=1)\n" +
				"x>       2    (id=2)\n" +
				"xx>      3    (id=3)\n",
		},
		{"a wide number", majority(7), acks{7: 1234567}, "     idx\n>  1234567    (id=7)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.config.Describe(tt.acks); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}
