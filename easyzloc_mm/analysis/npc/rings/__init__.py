"""The two rings of nuclear pores along z: of single pores, common to all, and the rivals without a gap."""
