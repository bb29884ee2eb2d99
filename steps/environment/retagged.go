package environment

// Retagged is the annotation that retag leaves on a stream tag: the name of what it pointed the tag at, as in the tag's
// from. oc tag, which writes a tag anew, leaves none, and a change of from alone leaves one that is not true any more.
const Retagged = "dockline/retagged"
