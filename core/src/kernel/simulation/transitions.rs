//! The diagram of docs/node-states.md, compared with the transitions that the simulations really make.
