"""The proof that nothing is lost: real workers, killed at random and in their worst moments."""
