//! What the machine itself offers a program that looks up names.
