service usage
